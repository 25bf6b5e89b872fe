package apitoken_test

import (
	"github.com/apitoken-go/apitoken"
)

// The types of objects of the tests.
var (
	wireDevice = wire.Resource("device", "Device")
	wireRoom   = wire.Resource("room", "Room")
)

var onDevice = apitoken.All(wireRead).On(wireDevice, apitoken.PathValue("id"))
