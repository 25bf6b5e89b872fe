module github.com/apitoken-go/apitoken

go 1.26
