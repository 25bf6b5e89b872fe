# All targets need Go only; what else a test needs, it skips and says so.
# See CONTRIBUTING.md, and internal/test/ci for what is done here.

# With -v, an empty build cache is not compiled in silence.
ci = echo "compiling internal/test/ci" && go run -v ./internal/test/ci
proof = go test -C internal/test/proof -count=1 -v -timeout 0

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 15

test: ## the tests of all modules; the race detector watches the root package, its parts and the stores
	@$(ci) test

check: ## variants of stores, each module alone, lint, cover, seconds of fuzz, newcomer; what CI does besides test
	@$(ci) check

lint: ## gofmt, go vet, staticcheck, go mod tidy
	@$(ci) lint

cover: ## statement coverage of the root package; fails below the goal
	@$(ci) cover

fuzz: ## every fuzz target of every module; FUZZTIME=30s is the time of each
	@$(ci) fuzz

timing: ## does the time of a refusal tell about the secret? TIMING=2m is how long to look
	@go test -count=1 -v -run '^TestTheTimeOfARefusal' -timeout 0 -timing "$${TIMING:-2m}" .

fresh: ## how soon other nodes refuse a deactivated token, into docs/freshness.md; some 20 minutes
	@go run ./internal/test/proof/fresh -o docs/freshness.md

newcomer: ## build the program of the README with modules as they will be released; COLD=1 with an empty build cache
	@$(ci) newcomer

mutation: ## break the library in some 440 places, one at a time: does a test notice? into docs/mutation.md; 20 minutes
	@go run ./internal/test/proof/mutation -o docs/mutation.md

variants: ## the suites over further variants of stores, which repeat what make check runs; some minutes
	@$(ci) variants

histories: ## is what a node acknowledged enforced at once? OPS=10000000 is how many checks for each store
	@$(proof) ./histories -ops "$${OPS:-10000000}"

faults: ## every call of the store fails, in every way, for every operation; REQUESTS=2500 at each point
	@$(proof) ./faults -requests "$${REQUESTS:-2500}"

crash: ## kill -9 of applications, PostgreSQL, MariaDB and Redis; CYCLES=250 of each, some 30 minutes; STORE=mysql for one
	@$(proof) ./crash -cycles "$${CYCLES:-250}" -store "$$STORE"

tamper: ## what someone can do who writes to the database and has no key, and what its files tell
	@$(proof) ./tamper

soak: ## a service under load against a model, does it grow? SOAK=1h is how long, STORE=sqlite (memory, postgres, mysql, redis)
	@$(proof) ./soak -duration "$${SOAK:-1h}" -store "$${STORE:-sqlite}"

api: ## record the exported API anew, in testdata/api.txt
	@mkdir -p testdata
	@go test -run '^TestTheExportedAPIIsTheRecordedOne$$' -update .

bench: ## measures and writes docs/benchmarks.md, some 40 minutes; BENCH=-quick to try it, BENCH="-rounds 20 requests" for a part
	@cd benchmarks && GOWORK=off go run ./run $(BENCH)

.PHONY: help test check lint cover fuzz timing fresh newcomer api bench mutation variants histories faults crash tamper soak
