package allocated_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken/internal/test/allocated"
)

var kept any

func TestWhatACallAllocatesIsCounted(t *testing.T) {
	objects, bytes := allocated.Per(100, func() { kept = new([512]byte) })
	assert.EqualValues(t, 1, objects)
	assert.EqualValues(t, 512, bytes)

	objects, bytes = allocated.Per(100, func() {})
	assert.Zero(t, objects)
	assert.Zero(t, bytes)
}

func TestWhatOtherGoroutinesAllocateIsNotCounted(t *testing.T) {
	var others sync.WaitGroup
	stop := make(chan struct{})
	for range 10 {
		others.Go(func() {
			for tick := time.Tick(time.Millisecond); ; {
				select {
				case <-stop:
					return
				case <-tick:
					_ = append([]byte(nil), make([]byte, 1<<16)...)
				}
			}
		})
	}
	objects, bytes := allocated.Per(100, func() { kept = new([512]byte) })
	close(stop)
	others.Wait()
	assert.EqualValues(t, 1, objects)
	assert.EqualValues(t, 512, bytes)
}

func TestWhatIsAllocatedOnceIsNotCounted(t *testing.T) {
	var once sync.Once
	_, bytes := allocated.Per(1, func() { once.Do(func() { kept = new([512]byte) }) })
	assert.Zero(t, bytes)
}
