// This program is compiled together with a client that oapi-codegen makes of
// manage/internal/api/openapi.json, and uses it: see generated_test.go.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
)

func main() {
	ctx := context.Background()
	withToken := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "apiToken "+os.Getenv("API_TOKEN"))
		return nil
	}
	api, err := NewClientWithResponses(os.Getenv("API_URL"), WithRequestEditorFn(withToken))
	check(err)

	self, err := api.GetSelfWithResponse(ctx, nil)
	check(err)
	fmt.Println("self:", self.JSON200.Owner, self.JSON200.Permissions)

	// It expires with the token that makes it.
	only, limit := []string{"device:7", "device:8"}, "100/m/20"
	made, err := api.GenerateTokenWithResponse(ctx, nil, NewToken{Name: "made by a client", Permissions: self.JSON200.Permissions, Only: &only, Limit: &limit})
	check(err)
	id := made.JSON201.Token.Id
	fmt.Println("generated:", made.JSON201.Token.Name, len(made.JSON201.Secret) > 60, *made.JSON201.Token.DisplayId != "")
	fmt.Println("limited:", made.JSON201.Token.Only, *made.JSON201.Token.Limit)

	// The new token makes a short-lived one for one of its objects.
	byItself := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "apiToken "+made.JSON201.Secret)
		return nil
	}
	label, one := "download", []string{"device:8"}
	derived, err := api.DeriveFromSelfWithResponse(ctx, DeriveFromSelfJSONRequestBody{ExpiresIn: "1m", Permissions: &self.JSON200.Permissions, Only: &one, Label: &label}, byItself)
	check(err)
	seen, err := api.GetSelfWithResponse(ctx, nil, func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "apiToken "+derived.JSON201.Secret)
		return nil
	})
	check(err)
	fmt.Println("derived:", seen.StatusCode(), seen.JSON200.Id == id)
	more, err := api.DeriveFromSelfWithResponse(ctx, DeriveFromSelfJSONRequestBody{ExpiresIn: "1m", Only: &[]string{"device:9"}}, byItself)
	check(err)
	fmt.Println("more:", more.StatusCode(), *more.ApplicationproblemJSON400.Field)

	list, err := api.ListTokensWithResponse(ctx, &ListTokensParams{Q: &id, Only: &only[0]})
	check(err)
	fmt.Println("listed:", list.JSON200.Count, list.JSON200.Tokens[0].Id == id)

	active, never := false, TokenUpdateNever(true)
	etag := made.HTTPResponse.Header.Get("ETag")
	limit = "50/m/20"
	changed, err := api.UpdateTokenWithResponse(ctx, id, &UpdateTokenParams{IfMatch: &etag}, TokenUpdate{Active: &active, Only: &one, Limit: &limit})
	check(err)
	fmt.Println("updated:", changed.JSON200.Active, changed.JSON200.Status, changed.JSON200.Only, *changed.JSON200.Limit)
	stale, err := api.UpdateTokenWithResponse(ctx, id, &UpdateTokenParams{IfMatch: &etag}, TokenUpdate{Never: &never})
	check(err)
	fmt.Println("stale:", stale.StatusCode(), stale.ApplicationproblemJSON412.Title)

	deleted, err := api.DeleteTokenWithResponse(ctx, id)
	check(err)
	fmt.Println("deleted:", deleted.StatusCode())
	kept, err := api.GetTokenWithResponse(ctx, id, nil)
	check(err)
	fmt.Println("kept:", kept.StatusCode(), kept.JSON200.Status)
	gone, err := api.DeleteTokenWithResponse(ctx, id)
	check(err)
	fmt.Println("again:", gone.StatusCode(), gone.ApplicationproblemJSON404.Title)

	none, err := NewClientWithResponses(os.Getenv("API_URL"))
	check(err)
	refused, err := none.GetSelfWithResponse(ctx, nil)
	check(err)
	fmt.Println("refused:", refused.StatusCode(), refused.ApplicationproblemJSON401.Title)
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
