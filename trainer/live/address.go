package live

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
)

// TokenVariable is the environment variable with the token, if no file has it.
const TokenVariable = "CONVAE_SERVE_TOKEN"

// leastToken is the least length of a token: shorter ones can be guessed.
const leastToken = 16

// ReadToken returns the token in a file or, without one, that of the environment: "" if there is none. The error says what is wrong with it, and
// never what it is.
func ReadToken(file string) (string, error) {
	from, token := "$"+TokenVariable, os.Getenv(TokenVariable)
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("token: %w", err)
		}
		from, token = file, strings.TrimSpace(string(text))
		if token == "" {
			return "", fmt.Errorf("token: %s is empty, want a line of at least %d characters", file, leastToken)
		}
	}
	if token != "" && len(token) < leastToken {
		return "", fmt.Errorf("token: that of %s has %d characters, want at least %d, such as `openssl rand -hex 16` prints", from, len(token), leastToken)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("token: that of %s has spaces or characters that are not ASCII: want one word of letters, digits and signs", from)
	}
	return token, nil
}

// Listen listens at HOST:PORT or :PORT. Without a token that is a loopback address, which is what no host then means.
func Listen(address, token string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("the address is %q, want :PORT or HOST:PORT, as :8080", address)
	}
	if token == "" {
		switch ip, err := netip.ParseAddr(host); {
		case host == "":
			host = "127.0.0.1"
		case host == "localhost":
		case err != nil || !ip.IsLoopback():
			return nil, fmt.Errorf("the address %s can be reached from other machines, which takes a token: put one into a file (--token-file) or into $%s, or leave the host out for this machine alone", address, TokenVariable)
		}
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	var op *net.OpError
	if errors.As(err, &op) {
		return nil, fmt.Errorf("the address %s cannot be listened at: %w", address, op.Err)
	}
	return l, err
}

// IsLoopback reports whether a listener is reached from this machine alone.
func IsLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
