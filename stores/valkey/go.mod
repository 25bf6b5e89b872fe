module github.com/apitoken-go/apitoken/stores/valkey

go 1.26.0

require (
	github.com/apitoken-go/apitoken v0.1.0
	github.com/valkey-io/valkey-go v1.0.79
)

require (
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/apitoken-go/apitoken => ../..
