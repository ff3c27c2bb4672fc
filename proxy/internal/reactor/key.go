package reactor

// A cancel key's process id is one that no server process has, so that
// pg_terminate_backend and pg_cancel_backend with it hit nobody: Linux gives
// out at most 1<<22 of them, and the value stays positive as drivers want it.
//
//	bit 30      set; clear in a request that another proxy has passed on
//	bits 20–29  the proxy that the client is connected to
//	bits 0–19   the client
const (
	keyOurs  = 1 << 30
	keyPeer  = 20
	keyCount = 1<<keyPeer - 1

	// MaxPeer is the highest number of a proxy.
	MaxPeer = 1<<10 - 1
)

// KeyPeer returns the proxy that gave out a cancel key with this process id.
// passed is true if the request has been passed on once, which is enough.
func KeyPeer(pid uint32) (peer int, passed bool) {
	return int(pid >> keyPeer & MaxPeer), pid&keyOurs == 0
}

// PassedKey is the process id with which a request is passed on.
func PassedKey(pid uint32) uint32 { return pid &^ keyOurs }

// key is the process id of client n of the proxy peer.
func key(peer int, n uint32) uint32 { return keyOurs | uint32(peer)<<keyPeer | n&keyCount }
