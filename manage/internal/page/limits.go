package page

import (
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/limit"
	"github.com/apitoken-go/apitoken/manage/internal/words"
)

// limitSpans are the texts for a number of requests in usual lengths of time.
var limitSpans = map[time.Duration]string{
	time.Second: words.Key("{1} request a second|{1} requests a second"),
	time.Minute: words.Key("{1} request a minute|{1} requests a minute"),
	time.Hour:   words.Key("{1} request an hour|{1} requests an hour"),
	oneDay:      words.Key("{1} request a day|{1} requests a day"),
}

// limitText returns the words for a limit, "" for none.
func (h *handler) limitText(l apitoken.Limit) string {
	if l == (apitoken.Limit{}) {
		return ""
	}
	var text string
	if span := limitSpans[l.Per]; span != "" {
		text = h.words.Text(span, l.Requests)
	} else {
		text = h.words.Text("{1} request in {2}|{1} requests in {2}", l.Requests, strings.Split(l.String(), "/")[1])
	}
	if l.Burst > 0 {
		text = h.words.Text("{1}, at most {2} at once", text, l.Burst)
	}
	return text
}

// limitHint returns what a form says about the limit of a token.
func (h *handler) limitHint() string {
	hint := h.words.Text("The service refuses more requests than this. Write 10/s, 5000/h, or 10/s/50 to allow 50 at once. Leave it empty for no limit of its own.")
	if most := h.config.Authority.Limits().Token; most != (apitoken.Limit{}) {
		hint += " " + h.words.Text("This service allows each token at most {1}.", h.limitText(most))
	}
	return hint
}

// limitData is what the page about a token says about its limits; "" where there is none.
type limitData struct {
	Token   string // the limit that counts for the token
	Own     bool   // it is its own
	Ignored string // its own one, which allows more than the service does
	Owner   string // the limit of all tokens of its owner
}

// limits returns what the page about a token says about its limits.
func (h *handler) limits(in *apitoken.TokenInfo) limitData {
	all := h.config.Authority.Limits()
	counts := apitoken.Limit(limit.Limit(in.Limit).Tighter(limit.Limit(all.Token)))
	d := limitData{Token: h.limitText(counts), Own: counts == in.Limit, Owner: h.limitText(all.Owner)}
	if !d.Own {
		d.Ignored = h.limitText(in.Limit)
	}
	return d
}

// leftText says how many requests are left of the limits in an explanation, "" without limits.
func (h *handler) leftText(x *apitoken.Explanation) string {
	var texts []string
	if x.Limits.Token != (apitoken.Limit{}) {
		texts = append(texts, h.words.Text("Its limit allows {1} more request at once now.|Its limit allows {1} more requests at once now.", x.TokenLeft))
	}
	if x.Limits.Owner != (apitoken.Limit{}) {
		texts = append(texts, h.words.Text("The limit of its owner allows {1} more request.|The limit of its owner allows {1} more requests.", x.OwnerLeft))
	}
	return strings.Join(texts, " ")
}
