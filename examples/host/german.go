package main

import "github.com/apitoken-go/apitoken/manage"

// german has the texts of the page by their English ones, which manage.Texts lists.
var german = manage.Words{Lang: "de", Thousands: ".", Texts: map[string]string{
	"My API tokens": "Meine API-Tokens",
}}
