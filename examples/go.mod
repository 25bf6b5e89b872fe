module github.com/apitoken-go/apitoken/examples

go 1.26.0

require (
	github.com/alexedwards/scs/v2 v2.9.0
	github.com/apitoken-go/apitoken v0.1.0
	github.com/apitoken-go/apitoken/stores/sqlite v0.1.0
	github.com/stretchr/testify v1.12.1
	golang.org/x/crypto v0.58.0
)

require (
	github.com/dustin/go-humanize v1.1.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/ncruces/go-strftime v1.1.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.49.0 // indirect
	modernc.org/libc v1.79.0 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
	modernc.org/sqlite v1.61.1 // indirect
)

replace (
	github.com/apitoken-go/apitoken => ..
	github.com/apitoken-go/apitoken/stores/sqlite => ../stores/sqlite
)
