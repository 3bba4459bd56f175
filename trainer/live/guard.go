package live

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard decides which requests are answered.
type guard struct {
	token    string // of the server's owner; "" if reading is free, on a loopback address
	control  string // what a request that changes something must have: the token, or one that was made for this process
	loopback bool
	session  string // value of the cookie that lets a browser read
}

const sessionCookie = "convae_session"

func newGuard(token string, loopback bool) guard {
	g := guard{token: token, control: token, loopback: loopback, session: rand.Text()}
	if token == "" {
		g.control = rand.Text()
	}
	return g
}

// same compares secrets in a time that does not depend on what they have in common.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// hasToken reports whether a request has the token in its header, where no other site's page can put it.
func (g *guard) hasToken(r *http.Request) bool {
	kind, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	return found && strings.EqualFold(kind, "Bearer") && same(token, g.control)
}

// reads reports whether a request may read.
func (g *guard) reads(r *http.Request) bool {
	if g.token == "" || g.hasToken(r) {
		return true
	}
	c, err := r.Cookie(sessionCookie)
	return err == nil && same(c.Value, g.session)
}

// local reports whether a request names this machine as it is called here: a page of another site whose name was made to lead here names that.
func (g *guard) local(r *http.Request) bool {
	if !g.loopback {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// foreign reports whether a browser sends a request for the page of another site.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	return origin != "" && origin != "http://"+r.Host && origin != "https://"+r.Host
}

// protect wraps what answers all requests.
func (g *guard) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		if !g.local(r) {
			Error(w, http.StatusForbidden, "the request is for another host: want localhost or 127.0.0.1 in its Host header")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// reading wraps what may be read.
func (g *guard) reading(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !g.reads(r) {
			refuse(w)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		next(w, r)
	}
}

// changing wraps what changes something.
func (g *guard) changing(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if foreign(r) {
			Error(w, http.StatusForbidden, "the request comes from the page of another site")
			return
		}
		if !g.hasToken(r) {
			refuse(w)
			return
		}
		next(w, r)
	}
}

// computing wraps what runs a model: it takes the token if there is one, and else no page of another site.
func (g *guard) computing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if foreign(r) {
			Error(w, http.StatusForbidden, "the request comes from the page of another site")
			return
		}
		if g.token != "" && !g.hasToken(r) {
			refuse(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func refuse(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="convae"`)
	Error(w, http.StatusUnauthorized, "want the token in the header: Authorization: Bearer TOKEN")
}

// login gives a browser that has the token a cookie to read with, which is not the token and changes nothing.
func (g *guard) login(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: g.session, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	w.WriteHeader(http.StatusNoContent)
}

// Error answers with an error as JSON: {"error": text}.
func Error(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text}) // whoever asked may be gone
}
