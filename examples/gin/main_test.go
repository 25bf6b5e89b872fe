package main

import (
	"testing"

	"github.com/apitoken-go/apitoken/examples/internal/probe"
)

func TestRequestsAreAnsweredAsEverywhere(t *testing.T) { probe.Run(t, &catalog, newHandler) }
