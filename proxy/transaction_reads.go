package proxy

import (
	"fmt"

	"github.com/pgroute/pgroute/proxy/internal/client"
)

// TransactionReads says where a transaction reads that may write.
type TransactionReads uint8

const (
	// ReadsPrimary: it runs on the primary from its BEGIN on.
	ReadsPrimary TransactionReads = iota
	// ReadsUntilWrite: under READ COMMITTED its reads before its first write run
	// on replicas, and it moves to the primary then. Until that moment no server
	// knows of it, so its reads leave no locks behind.
	ReadsUntilWrite
)

// ParseTransactionReads reads primary or until-write.
func ParseTransactionReads(s string) (TransactionReads, error) {
	switch s {
	case "primary":
		return ReadsPrimary, nil
	case "until-write":
		return ReadsUntilWrite, nil
	}
	return 0, fmt.Errorf("unknown transaction_reads %q: it is primary or until-write", s)
}

// String returns what ParseTransactionReads reads.
func (r TransactionReads) String() string {
	if r == ReadsUntilWrite {
		return "until-write"
	}
	return "primary"
}

// client is p as sessions know it.
func (p *Policy) client() client.Policy {
	return client.Policy{Level: p.Consistency, Scope: p.Scope, Wait: max(p.Wait, 0), OnTimeout: p.OnTimeout,
		MaxStaleness: p.MaxStaleness, UntilWrite: p.TransactionReads == ReadsUntilWrite, Shadow: p.Shadow,
		LostWritesFail: p.LostWritesFail}
}
