package apitoken

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxNetworks bounds the networks of a token.
const maxNetworks = 64

// networks returns networks as they are stored: IPv4 as IPv4, masked, sorted.
func networks(list []netip.Prefix) ([]netip.Prefix, error) {
	if len(list) > maxNetworks {
		return nil, &FieldError{"allowed_networks", fmt.Sprintf("has %d networks; at most %d are allowed", len(list), maxNetworks)}
	}
	var out []netip.Prefix
	for _, n := range list {
		n, err := network(n)
		if err != nil {
			return nil, &FieldError{"allowed_networks", err.Error()}
		}
		out = append(out, n)
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out), nil
}

// network returns a network in the form of validNetwork.
func network(n netip.Prefix) (netip.Prefix, error) {
	given := n
	if n.Addr().Is4In6() {
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	if n = n.Masked(); !validNetwork(n) {
		return n, fmt.Errorf("contains %q, which is no network", given)
	}
	return n, nil
}

// validNetwork reports whether p is a network in the form that is stored:
// masked, without zone, IPv4 as IPv4.
func validNetwork(p netip.Prefix) bool {
	return p.IsValid() && p == p.Masked() && !p.Addr().Is4In6() && p.Addr().Zone() == ""
}

// allInside reports whether every address of the networks in inner is in one of
// outer, where no network at all stands for all addresses.
func allInside(inner, outer []netip.Prefix) bool {
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

// ForwardedFor returns a function for Config.ClientAddr of a service behind
// proxies, whose addresses are in the given networks and who append the address
// of their peer to X-Forwarded-For, as proxies do.
//
// It begins with the peer of the connection and, as long as that is a trusted
// proxy, goes to the next address of X-Forwarded-For from the right. What stands
// to the left of the first address that is not a trusted proxy could have been
// written by anybody and is not looked at. An address may have a port, and IPv6
// addresses may stand in brackets. The address is not known, and a token that is
// bound to networks is refused, where a trusted proxy appended anything else. The
// error is about a network that is none.
func ForwardedFor(trusted ...netip.Prefix) (func(*http.Request) (netip.Addr, error), error) {
	proxies, err := networks(trusted)
	if err != nil {
		return nil, err
	}
	isProxy := func(addr netip.Addr) bool {
		return slices.ContainsFunc(proxies, func(n netip.Prefix) bool { return n.Contains(addr) })
	}
	return func(r *http.Request) (netip.Addr, error) {
		peer, _ := netip.ParseAddrPort(r.RemoteAddr)
		addr := peer.Addr().Unmap()
		fields := r.Header["X-Forwarded-For"]
		for i := len(fields) - 1; i >= 0; i-- {
			for rest, more := fields[i], true; more; {
				if !isProxy(addr) {
					return addr, nil
				}
				var last string
				if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
					rest, last = rest[:comma], rest[comma+1:]
				} else {
					last, more = rest, false
				}
				next, ok := forwardedAddr(strings.Trim(last, " \t"))
				if !ok {
					return netip.Addr{}, nil
				}
				addr = next.Unmap()
			}
		}
		return addr, nil
	}, nil
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
