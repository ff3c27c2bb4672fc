package client

import (
	"encoding/binary"

	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// callsLargeObject reports whether the FunctionCall that data begins with calls
// one of the server's functions for large objects, by the OIDs of pg_proc.dat:
// drivers call these so. Their descriptors end with the transaction, and
// nothing else of them stays in the session.
func callsLargeObject(data []byte) bool {
	if len(data) < wire.HeaderLen+4 {
		return false
	}
	switch binary.BigEndian.Uint32(data[wire.HeaderLen:]) {
	case 952, 953, 954, 955, 956, 957, 958, // lo_open, lo_close, loread, lowrite, lo_lseek, lo_creat, lo_tell
		715, 964, 1004, // lo_create, lo_unlink, lo_truncate
		3170, 3171, 3172, // lo_lseek64, lo_tell64, lo_truncate64
		764, 765, 767, 3457, 3458, 3459, 3460: // lo_import, lo_export, lo_from_bytea, lo_get, lo_put
		return true
	}
	return false
}
