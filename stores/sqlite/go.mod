module github.com/apitoken-go/apitoken/stores/sqlite

go 1.26

require (
	github.com/apitoken-go/apitoken v0.1.0
	modernc.org/sqlite v1.61.1
)

replace github.com/apitoken-go/apitoken => ../..
