package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/cli"
)

// An exitCode is an error of which everything has been said.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// tokenCommand is "server token ...", for operators of the service. It works
// on the same store, beside servers that run.
func tokenCommand(ctx context.Context, storeURL string, args []string) (err error) {
	if storeURL == "memory:" {
		return errors.New("only the running server knows tokens in memory; use its web page, or -store with a file or URL")
	}
	kept, err := findSecrets()
	if err != nil {
		return err
	}
	if kept == nil {
		return fmt.Errorf("there is no %s with the keys: start the server once, or set DEMO_PASSWORD", secretsFile())
	}
	store, err := openStore(ctx, storeURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	auth, err := newAuthority(store, kept, nil, apitoken.LogEvents(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, auth.Close()) }()
	routes := auth.Routes(http.NewServeMux())
	handleAPI(routes)
	if code := cli.Run(ctx, auth, args, cli.Config{Actor: operator, Routes: routes.Table(), Name: "server token"}); code != 0 {
		return exitCode(code)
	}
	return nil
}

// operator is who acts at the terminal: a user if one is named, else an actor
// who may do everything.
func operator(_ context.Context, environment, user string) (apitoken.Actor, error) {
	if environment == "" {
		environment = "demo"
	}
	if !slices.ContainsFunc(users, func(a apitoken.Actor) bool { return a.Environment == environment }) {
		return apitoken.Actor{}, errors.New("there is no such environment")
	}
	if user == "" {
		return apitoken.Actor{User: "operator", Environment: environment, Grants: everything, ManageOthers: true}, nil
	}
	actor := userNamed(user)
	if actor.User == "" || actor.Environment != environment {
		return apitoken.Actor{}, errors.New("there is no such user in the environment " + environment)
	}
	return actor, nil
}
