module github.com/apitoken-go/apitoken/adapters/huma

go 1.26.0

require (
	github.com/apitoken-go/apitoken v0.1.0
	github.com/danielgtaylor/huma/v2 v2.37.2
	github.com/stretchr/testify v1.12.1
)

require (
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/apitoken-go/apitoken => ../..
