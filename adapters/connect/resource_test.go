package apitokenconnect_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/apitoken-go/apitoken"
	apitokenconnect "github.com/apitoken-go/apitoken/adapters/connect"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/internal/test/resourcetest"
)

// field is a field of a message, "" of any other name.
func field(name string) func(*http.Request) string {
	return apitokenconnect.Message(func(m *structpb.Struct) string { return m.Fields[name].GetStringValue() })
}

func TestALimitedTokenGetsNothingElseFromAServiceOfConnect(t *testing.T) {
	s := resourcetest.New(t, 1, 100, resourcetest.Framework{
		Param: func(name string) string { return name }, Value: field, Flat: true,
	})
	requirements := make(map[string]apitoken.Requirement)
	mux := http.NewServeMux()
	for _, r := range s.Routes {
		requirements["/devices/"+r.Name] = r.Guards[0]
	}
	decides := connect.WithInterceptors(apitokenconnect.Interceptor(s.Auth, requirements))
	for _, r := range s.Routes {
		procedure := "/devices/" + r.Name
		answer := connect.NewUnaryHandler(procedure, func(ctx context.Context, req *connect.Request[structpb.Struct]) (*connect.Response[structpb.Struct], error) {
			tok, _ := apitoken.FromContext(ctx)
			status, body := r.Answer(tok, req.Msg.Fields["id"].GetStringValue())
			m, err := structpb.NewStruct(map[string]any{"status": strconv.Itoa(status), "body": body})
			return connect.NewResponse(m), err
		}, decides)
		mux.Handle(procedure, apitokenconnect.Guard(s.Auth, s.Open())(answer))
	}
	s.Check(t, func(c resourcetest.Call) (int, string) {
		message, err := json.Marshal(map[string]string{"id": c.Device, "room": c.Room})
		require.NoError(t, err)
		r := apitokentest.Request("POST", "/devices/"+c.Route.Name, c.Token)
		w := post(mux, r, string(message))
		if w.Code != http.StatusOK {
			return w.Code, ""
		}
		var answer struct{ Status, Body string }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
		status, err := strconv.Atoi(answer.Status)
		require.NoError(t, err)
		return status, answer.Body
	})
}

// post sends a message by Connect's own protocol.
func post(h http.Handler, like *http.Request, message string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", like.URL.String(), strings.NewReader(message))
	r.Header = like.Header.Clone()
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTheInterceptorRefusesWhatNoGuardHasSeenAndWhatItDoesNotKnow(t *testing.T) {
	var catalog apitoken.Catalog
	read, write := catalog.Define("devices:read", "See devices"), catalog.Define("devices:write", "Change devices")
	device := catalog.Resource("device", "Device")
	auth := apitokentest.New(t, &catalog)
	called := 0
	handler := func(procedure string) http.Handler {
		return connect.NewUnaryHandler(procedure, func(context.Context, *connect.Request[wrapperspb.StringValue]) (*connect.Response[emptypb.Empty], error) {
			called++
			return connect.NewResponse(new(emptypb.Empty)), nil
		}, connect.WithInterceptors(apitokenconnect.Interceptor(auth, map[string]apitoken.Requirement{
			"/devices/Get":    apitoken.All(read).On(device, apitokenconnect.Message((*wrapperspb.StringValue).GetValue)),
			"/devices/Delete": apitoken.All(write).On(device, apitokenconnect.Message((*wrapperspb.StringValue).GetValue)),
		})))
	}
	guard := apitokenconnect.Guard(auth, apitoken.All(read).Filtered(device))
	sessions := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Session") == "" {
				http.Error(w, "sign in", http.StatusTeapot)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	guardOr := apitokenconnect.GuardOr(auth, apitoken.All(read).Filtered(device), sessions)
	token := apitokentest.Token(t, auth, read)
	for _, c := range []struct {
		name    string
		h       http.Handler
		path    string
		token   string
		session string
		message string
		status  int
	}{
		{"a device", guard(handler("/devices/Get")), "/devices/Get", token, "", `"7"`, 200},
		{"no device", guard(handler("/devices/Get")), "/devices/Get", token, "", `""`, 500},
		{"a permission that Guard does not ask for", guard(handler("/devices/Delete")), "/devices/Delete", token, "", `"7"`, 403},
		{"a procedure that it does not know", guard(handler("/devices/Other")), "/devices/Other", token, "", `"7"`, 403},
		{"no guard", handler("/devices/Get"), "/devices/Get", token, "", `"7"`, 500},
		{"a session", guardOr(handler("/devices/Get")), "/devices/Get", "", "ada", `"7"`, 200},
		{"no session", guardOr(handler("/devices/Get")), "/devices/Get", "", "", `"7"`, http.StatusTeapot},
		{"a token beside a session", guardOr(handler("/devices/Get")), "/devices/Get", token, "ada", `""`, 500},
	} {
		before := called
		r := apitokentest.Request("POST", c.path, c.token)
		r.Header.Set("X-Session", c.session)
		w := post(c.h, r, c.message)
		assert.Equal(t, c.status, w.Code, "%s: %s", c.name, w.Body)
		assert.Equal(t, c.status == 200, called == before+1, c.name)
		if c.name == "a permission that Guard does not ask for" {
			assert.Contains(t, w.Header().Get("WWW-Authenticate"), "devices:write")
		}
	}
	assert.Panics(t, func() {
		apitokenconnect.Interceptor(auth, map[string]apitoken.Requirement{"/devices/Get": {}})
	})
}

func TestAStreamHasNoMessageWhenItBegins(t *testing.T) {
	var catalog apitoken.Catalog
	read := catalog.Define("devices:read", "See devices")
	device := catalog.Resource("device", "Device")
	auth := apitokentest.New(t, &catalog)
	called := 0
	mux := http.NewServeMux()
	decides := connect.WithInterceptors(apitokenconnect.Interceptor(auth, map[string]apitoken.Requirement{
		"/devices/On":       apitoken.All(read).On(device, apitokenconnect.Message((*wrapperspb.StringValue).GetValue)),
		"/devices/Filtered": apitoken.All(read).Filtered(device),
	}))
	for _, procedure := range []string{"/devices/On", "/devices/Filtered"} {
		mux.Handle(procedure, apitokenconnect.Guard(auth, apitoken.All(read).Filtered(device))(connect.NewClientStreamHandler(procedure,
			func(ctx context.Context, stream *connect.ClientStream[wrapperspb.StringValue]) (*connect.Response[emptypb.Empty], error) {
				called++
				tok, _ := apitoken.FromContext(ctx)
				_, err := auth.Recheck(ctx, tok, apitoken.All(read).On(device, apitoken.ID("7")))
				return connect.NewResponse(new(emptypb.Empty)), err
			}, decides)))
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	call := func(procedure string) error {
		client := connect.NewClient[wrapperspb.StringValue, emptypb.Empty](http.DefaultClient, server.URL+procedure)
		stream := client.CallClientStream(t.Context())
		stream.RequestHeader().Set("Authorization", "apiToken "+apitokentest.Token(t, auth, read))
		_, err := stream.CloseAndReceive()
		return err
	}
	assert.Equal(t, connect.CodeInternal, connect.CodeOf(call("/devices/On")))
	assert.Zero(t, called)
	assert.NoError(t, call("/devices/Filtered"))
	assert.Equal(t, 1, called)
}
