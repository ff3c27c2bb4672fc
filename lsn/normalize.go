package lsn

// DefaultBlockSize is PostgreSQL's wal_block_size unless it was built
// otherwise.
const DefaultBlockSize = 8192

// Lengths of the page headers in the WAL (SizeOfXLogShortPHD and
// SizeOfXLogLongPHD of xlog_internal.h, with 8-byte alignment). The long one
// begins every segment.
const (
	shortHeader = 24
	longHeader  = 40
)

// NormalizeInsert turns an insert position into one that a replica reaches
// without further WAL. pg_current_wal_insert_lsn answers where the next record
// will begin. When the last record ended exactly with its page, that is behind
// the header of the next page, while flush, write and replay positions stay at
// the page's start until something more is written (about one commit in 500).
// Such a position is moved back to the start of its page.
//
// Moving back is safe although a page that does not begin a segment may hold a
// genuine end at offset 40: the record that ends there began on an earlier
// page, so no replay position lies between the page's start and its end, and a
// node that has replayed up to the page's start has replayed that record.
//
// blockSize is the server's wal_block_size; zero or less means
// DefaultBlockSize. Flush, write and replay positions need no normalisation.
func NormalizeInsert(l LSN, blockSize int) LSN {
	if blockSize <= 0 {
		blockSize = DefaultBlockSize
	}
	if off := l % LSN(blockSize); off == shortHeader || off == longHeader {
		return l - off
	}
	return l
}
