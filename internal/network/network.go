// Package network compares addresses and networks, and finds the address of a client.
package network

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// most bounds the networks of a token.
const most = 64

// Normalize returns networks in their stored form: IPv4 as IPv4, masked, sorted. The error
// continues a sentence that begins with the name of the field.
func Normalize(list []netip.Prefix) ([]netip.Prefix, error) {
	if len(list) > most {
		return nil, fmt.Errorf("has %d networks; at most %d are allowed", len(list), most)
	}
	var out []netip.Prefix
	for _, given := range list {
		n := given
		if n.Addr().Is4In6() {
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		if n = n.Masked(); !Valid(n) {
			return nil, fmt.Errorf("contains %q, which is no network", given)
		}
		out = append(out, n)
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out), nil
}

// Valid reports whether p has the stored form: masked, without zone, IPv4 as IPv4.
func Valid(p netip.Prefix) bool {
	return p.IsValid() && p == p.Masked() && !p.Addr().Is4In6() && p.Addr().Zone() == ""
}

// Inside reports whether an address is in one of the networks. An empty list means all
// addresses.
func Inside(networks []netip.Prefix, addr netip.Addr) bool {
	return len(networks) == 0 ||
		slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// AllInside reports whether every address of the networks in inner is in one of outer. An
// empty list means all addresses.
func AllInside(inner, outer []netip.Prefix) bool {
	if len(outer) == 0 {
		return true
	}
	for _, n := range inner {
		if !slices.ContainsFunc(outer, func(o netip.Prefix) bool { return o.Bits() <= n.Bits() && o.Contains(n.Addr()) }) {
			return false
		}
	}
	return len(inner) > 0
}

// Forwarded returns the address of the client of a request that came through trusted
// proxies. It reads from the peer of the connection to the left through X-Forwarded-For, as
// long as it finds proxies. It returns the zero Addr if a proxy appended something that is
// no address.
func Forwarded(r *http.Request, proxies []netip.Prefix) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	addr := peer.Addr().Unmap()
	fields := r.Header["X-Forwarded-For"]
	for i := len(fields) - 1; i >= 0; i-- {
		for rest, more := fields[i], true; more; {
			if len(proxies) == 0 || !Inside(proxies, addr) {
				return addr
			}
			var last string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, last = rest[:comma], rest[comma+1:]
			} else {
				last, more = rest, false
			}
			next, ok := forwardedAddr(strings.Trim(last, " \t"))
			if !ok {
				return netip.Addr{}
			}
			addr = next.Unmap()
		}
	}
	return addr
}

// forwardedAddr reads an element of X-Forwarded-For, which has no standard. Most
// proxies append an address alone; Azure and IIS append its port, too, and some
// write IPv6 in brackets, as in a URL.
func forwardedAddr(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr, true
	}
	if strings.HasSuffix(s, "]") {
		s += ":0" // what follows has ParseAddrPort check the brackets
	}
	both, err := netip.ParseAddrPort(s)
	return both.Addr(), err == nil
}

// Peer returns the address of http.Request.RemoteAddr, which net/http writes as IP:port;
// the zero Addr if it is something else.
func Peer(remote string) netip.Addr {
	if addr, ok := ipv4Peer(remote); ok {
		return addr
	}
	both, _ := netip.ParseAddrPort(remote)
	return both.Addr()
}

// ipv4Peer returns the address of an IPv4 address and port, if that is what s is and
// both are as short as they can be: what [netip.ParseAddrPort] does, in a fifth of the
// time.
func ipv4Peer(s string) (addr netip.Addr, ok bool) {
	var ip [4]byte
	part, n, digits := 0, 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			if digits++; digits > 1 && n == 0 {
				return addr, false
			}
			n = 10*n + int(c-'0')
			if n > 255 && part < 4 || n > 65535 {
				return addr, false
			}
		case digits > 0 && (c == '.' && part < 3 || c == ':' && part == 3):
			ip[part] = byte(n)
			part, n, digits = part+1, 0, 0
		default:
			return addr, false
		}
	}
	return netip.AddrFrom4(ip), part == 4 && digits > 0
}
