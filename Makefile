# All targets need Go only; what else a test needs, it skips and says so.
# See CONTRIBUTING.md, and internal/check for what is done here.

check = go run ./internal/check

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

test: ## everything: lint, all modules together and each alone, coverage; FUZZTIME=5000x fuzzes too
	@$(check) test

lint: ## gofmt, go vet, staticcheck, go mod tidy
	@$(check) lint

cover: ## statement coverage of the root package; fails below the goal
	@$(check) cover

fuzz: ## every fuzz target of every module; FUZZTIME=30s is the time of each
	@$(check) fuzz

api: ## record the exported API anew, in testdata/api.txt
	@mkdir -p testdata
	@go test -run '^TestTheExportedAPIIsTheRecordedOne$$' -update .

.PHONY: help test lint cover fuzz api
