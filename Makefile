# Two commands do everything, set-up included: make demo, make test.

.PHONY: demo test driver-suites regression-suite test-versions attack build generate lint fuzz fuzz-protocol bench clean

build:
	go build -o bin/claimpool ./cmd/claimpool

# The whole story on a real PostgreSQL of its own.
demo:
	sh scripts/setup.sh demo
	go build -o bin/claimpool ./cmd/claimpool
	bin/claimpool demo

# Every test, on the system's PostgreSQL and on the newest. The packages that take longest begin; their tests wait more than they
# work, so that more of them run at once than there are cores.
test: lint
	sh scripts/setup.sh test
	PGTEST_REQUIRE=1 go test -race -parallel 4 -timeout 20m ./proxy ./database ./...
	$(MAKE) driver-suites
	$(MAKE) -C database/extension check-private check-versions
	$(MAKE) -C database/extension fuzz-extension FUZZ_RUNS=20000

# pgx's and lib/pq's own tests through a proxy, in session and in transaction mode: what cannot pass stands in drivers/*.txt.
driver-suites:
	sh scripts/setup.sh test
	PGTEST_REQUIRE=1 go test -tags suites -timeout 30m -count=1 -v -run TestDriverSuites ./drivers

# PostgreSQL's own regression and isolation tests, straight and through a proxy in session mode.
regression-suite:
	sh scripts/setup.sh test
	sh scripts/regression-suite.sh

# The same suite on every supported version of PostgreSQL.
test-versions:
	sh scripts/setup.sh versions
	PGTEST_REQUIRE=1 PGTEST_VERSIONS=all go test -timeout 60m ./...
	$(MAKE) -C database/extension check-private
	$(MAKE) -C database/extension check-versions VERSIONS='16 17 18'

# The attacks alone, on every supported version, with a table of who held: 12,000 hand-overs where they are hammered, a minute of
# random SQL on each, and many simulated histories. VERSIONS=15,18 says on which versions; RESUME=1 goes on where the last run
# of the same versions was stopped; TARGET=pgbouncer shows what succeeds there.
TARGET = claimpool
VERSIONS = all
attack:
	sh scripts/setup.sh versions
	mkdir -p bin
	test -n "$(RESUME)" || rm -f bin/attack-$(TARGET)-$(VERSIONS).json
	PGTEST_REQUIRE=1 PGTEST_VERSIONS=$(VERSIONS) ATTACK_TIME=1m SIMULATION_RUNS=20000 \
		go run ./attack -target $(TARGET) -resume bin/attack-$(TARGET)-$(VERSIONS).json

# What is generated from the code: the reference of settings and the like.
generate:
	go generate ./...

lint:
	@test -z "$$(gofmt -l .)" || { echo 'gofmt is needed for:'; gofmt -l .; exit 1; }
	go vet ./...

# Every fuzz target, FUZZTIME each.
FUZZTIME ?= 20s
fuzz:
	sh scripts/fuzz.sh $(FUZZTIME)

# Random conversations, compared with PostgreSQL's own answers, and clients and servers in bad weather: PROTOCOL_TIME for each
# kind and mode. PROTOCOL_SEED=… plays one of them again.
PROTOCOL_TIME ?= 5m
fuzz-protocol:
	sh scripts/setup.sh test
	PGTEST_REQUIRE=1 PROTOCOL_TIME=$(PROTOCOL_TIME) go test -timeout 60m -count=1 -v -run 'TestSameReplies|TestBadWeather' ./pgtest

# claimpool, pgbouncer and a direct connection side by side.
bench:
	sh scripts/setup.sh test
	sh bench/run.sh
	sh bench/run.sh -pgbouncer "$$(sh scripts/pgbouncer.sh)" -workloads simple,extended,prepared -clients 64

clean:
	rm -rf bin .cache
