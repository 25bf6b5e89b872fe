package page

import (
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// warnBefore is the time before its end for which an expiry is marked.
const warnBefore = 7 * 24 * time.Hour

// expires returns the words for the end of a token.
func (h *handler) expires(in *apitoken.TokenInfo, now time.Time) when {
	end, _ := h.end(in)
	if end.IsZero() {
		return when{Text: h.words.Text("Never expires")}
	}
	w := h.relativeTime(now, end)
	switch {
	case !now.Before(end):
		w.Level = "bad"
	case end.Sub(now) <= warnBefore:
		w.Level = "warn"
	}
	return w
}

// end returns the end of a token, zero for none, and whether the policy sets it.
func (h *handler) end(in *apitoken.TokenInfo) (end time.Time, byPolicy bool) {
	most := h.config.Authority.Policy().MaxLifetime
	if most <= 0 {
		return in.ExpiresAt, false
	}
	limit := in.CreatedAt.Add(most)
	if in.ExpiresAt.IsZero() || limit.Before(in.ExpiresAt) {
		return limit, true
	}
	return in.ExpiresAt, false
}

func (h *handler) lastUsed(in *apitoken.TokenInfo, now time.Time) when {
	switch {
	case !in.LastUsed().At.IsZero():
		return h.relativeTime(now, in.LastUsed().At)
	case !in.UseRecorded:
		return when{Text: h.words.Text("Not recorded")}
	}
	return when{Text: h.words.Text("Never used")}
}

// A tokenState is a status: its label, its color and the reason for it.
type tokenState struct{ Label, Level, Why string }

func (h *handler) state(in *apitoken.TokenInfo, now time.Time) tokenState {
	t := h.words.Text
	switch in.Status {
	case apitoken.StatusActive:
		if fields.OwnerAccess(in) == "none" {
			return tokenState{t("Owner has no access"), "bad", t(fields.OwnerWhy(in))}
		}
		return tokenState{t("Active"), "good", t(fields.OwnerWhy(in))}
	case apitoken.StatusInactive:
		return tokenState{t("Deactivated"), "off", t("by {1}", h.user(in.DeactivatedBy))}
	case apitoken.StatusDeleted:
		return tokenState{t("Deleted"), "off", t("by {1}", h.user(in.DeletedBy))}
	case apitoken.StatusPending:
		return tokenState{t("Not yet valid"), "info", t("valid {1}", h.relativeTime(now, in.NotBefore).Text)}
	case apitoken.StatusExpired:
		if end, _ := h.end(in); end.IsZero() || now.Before(end) {
			return tokenState{t("Expired"), "bad", t("not used for too long")}
		}
		return tokenState{t("Expired"), "bad", ""}
	case apitoken.StatusDamaged:
		return tokenState{t("Damaged"), "bad", t("somebody changed it in the database, and it is refused")}
	case apitoken.StatusNewer:
		return tokenState{t("Of a newer version"), "bad", t("a later version of this service changed it; until this one is brought up to date, it is refused")}
	}
	return tokenState{string(in.Status), "off", ""}
}
