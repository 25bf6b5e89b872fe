package apitoken_test

import (
	"testing"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/managertest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func TestTheStoreKeepsTheRulesOfTheManager(t *testing.T) {
	managertest.Run(t, func(*testing.T) apitoken.Store { return memory.New() })
}
