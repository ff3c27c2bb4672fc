package auth

// SetNonce replaces the random part of a server's exchange.
func (s *Server) SetNonce(nonce string) { s.nonce = nonce }

// SetNonce replaces the random part of a client's exchange.
func (c *Client) SetNonce(nonce string) { c.nonce = nonce }
