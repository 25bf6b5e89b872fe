module github.com/apitoken-go/apitoken/examples

go 1.26

require (
	github.com/alexedwards/scs/v2 v2.9.0
	github.com/apitoken-go/apitoken v0.1.0
	github.com/apitoken-go/apitoken/stores/sqlite v0.1.0
	golang.org/x/crypto v0.58.0
)

replace (
	github.com/apitoken-go/apitoken => ..
	github.com/apitoken-go/apitoken/stores/sqlite => ../stores/sqlite
)
