module github.com/apitoken-go/apitoken/internal/test/proof

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/apitoken-go/apitoken v0.1.0
	github.com/apitoken-go/apitoken/stores/mysql v0.1.0
	github.com/apitoken-go/apitoken/stores/postgres v0.1.0
	github.com/apitoken-go/apitoken/stores/sqlite v0.1.0
	github.com/apitoken-go/apitoken/stores/valkey v0.1.0
	github.com/jackc/pgx/v5 v5.12.0
	github.com/valkey-io/valkey-go v1.0.79
	modernc.org/sqlite v1.61.1
)

require (
	filippo.io/edwards25519 v1.1.0 // indirect
	github.com/dustin/go-humanize v1.1.0 // indirect
	github.com/go-sql-driver/mysql v1.9.3 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/ncruces/go-strftime v1.1.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	modernc.org/libc v1.79.0 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
)

replace (
	github.com/apitoken-go/apitoken => ../../..
	github.com/apitoken-go/apitoken/stores/mysql => ../../../stores/mysql
	github.com/apitoken-go/apitoken/stores/postgres => ../../../stores/postgres
	github.com/apitoken-go/apitoken/stores/sqlite => ../../../stores/sqlite
	github.com/apitoken-go/apitoken/stores/valkey => ../../../stores/valkey
)
