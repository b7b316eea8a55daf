package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gor1/gor1/internal/bench"
)

// spread is of the rounds that count.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return spread{}
	}
	return spread{Median: (v[(len(v)-1)/2] + v[len(v)/2]) / 2, Min: v[0], Max: v[len(v)-1]}
}

// row is one case of ours against one peer.
type row struct {
	Unit    string  `json:"unit_of"` // the unit's name
	Name    string  `json:"name"`
	DType   string  `json:"dtype"`
	Value   string  `json:"unit"` // of the numbers
	Ours    spread  `json:"ours"`
	Limit   float64 `json:"limit,omitempty"` // what the machine's measured peak and copy rate allow, median over the rounds
	Share   float64 `json:"share,omitempty"`
	RSS     int64   `json:"rss"` // peak, bytes
	Peer    string  `json:"peer"`
	PeerRow string  `json:"peer_row,omitempty"` // where it has another name
	Set     setting `json:"set,omitempty"`
	Swept   []swept `json:"swept,omitempty"`
	Theirs  spread  `json:"theirs"`
	PeerRSS int64   `json:"peer_rss"`
	Check   float64 `json:"check"` // the largest difference of the peer's log-probs from ours
	Ratio   spread  `json:"ratio"` // ours / theirs, of each round
	Rounds  int     `json:"rounds"`
	Dropped int     `json:"dropped"`        // rounds that others disturbed
	Void    string  `json:"void,omitempty"` // why the row does not count
	Device  string  `json:"device"`
}

// rowsOf are medians over the undisturbed rounds where there are enough, else over all, and then they are void.
func rowsOf(u unit, ours, theirs []*contender, others []float64, want int) []row {
	void := ""
	count := slices.Repeat([]bool{true}, len(others))
	dropped := 0
	for i, share := range others {
		if share > bench.Bound {
			count[i] = false
			dropped++
		} else if share < 0 {
			void = "what others do is not known on this system"
		}
	}
	if len(others)-dropped < want {
		void = fmt.Sprintf("others took more than %.0f %% of the cores in %d of %d rounds", 100*bench.Bound, dropped, len(others))
		count = slices.Repeat([]bool{true}, len(others))
	}
	var all []row
	for _, o := range ours {
		for _, t := range theirs {
			all = append(all, pair(u, o, t, count, dropped, void)...)
		}
	}
	return all
}

func pair(u unit, o, t *contender, count []bool, dropped int, void string) []row {
	base := row{Unit: u.name, Name: u.name, DType: o.DType, Peer: t.driver, Set: t.Set, Swept: t.swept, Dropped: dropped, Void: void}
	for _, c := range []*contender{o, t} {
		if c.failure != nil {
			base.Void = "failed: " + c.failure.Error()
			return []row{base}
		}
	}
	var rows []row
	for i, first := range o.rounds[0] {
		r := base
		other := t.rounds[0][i]
		r.Name, r.Value, r.Device = first.Name, first.Unit, first.Device
		if r.Peer = other.Device; t.driver == "ours" {
			r.Peer = "ours"
		}
		if other.Name != first.Name {
			r.PeerRow = other.Name
		}
		if other.Check != nil {
			r.Check = *other.Check
		}
		var a, b, ratio, limit []float64
		for j, counts := range count {
			if x, y := o.rounds[j][i], t.rounds[j][i]; counts {
				a, b, ratio, limit = append(a, x.Value), append(b, y.Value), append(ratio, x.Value/y.Value), append(limit, x.Limit)
				r.RSS, r.PeerRSS = x.PeakRSS, y.PeakRSS
			}
		}
		r.Rounds, r.Ours, r.Theirs, r.Ratio, r.Limit = len(a), spreadOf(a), spreadOf(b), spreadOf(ratio), spreadOf(limit).Median
		if r.Limit > 0 {
			r.Share = r.Ours.Median / r.Limit
		}
		rows = append(rows, r)
	}
	return rows
}

// text is a setting in one line, sorted.
func text(s setting) string {
	var parts []string
	for k, v := range s {
		parts = append(parts, fmt.Sprintf("%s %v", k, v))
	}
	slices.SortFunc(parts, cmp.Compare[string])
	return strings.Join(parts, ", ")
}

const head = "| what | dtype | unit | ours: median (min-max) | share of limit | peer and its best setting | theirs: median (min-max) | ratio (min-max) | rounds | peak memory, MiB | void |\n|---|---|---|---|---|---|---|---|---|---|---|\n"

// markdown is the row of a table under head.
func (r row) markdown() string {
	if r.Rounds == 0 {
		return fmt.Sprintf("| %s | %s | | | | %s | | | | | %s |\n", r.Name, r.DType, r.Peer, strings.ReplaceAll(r.Void, "\n", " "))
	}
	share, memory, peer := "", "", r.Peer
	if r.Limit > 0 {
		share = fmt.Sprintf("%.0f %% of %s", 100*r.Share, number(r.Limit))
	}
	if r.PeerRow != "" {
		peer += " (" + r.PeerRow + ")"
	}
	if set := text(r.Set); set != "" {
		peer += ": " + set
	}
	if r.RSS > 0 {
		memory = fmt.Sprintf("%d / %d", r.RSS>>20, r.PeerRSS>>20)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %.2fx (%.2f-%.2f) | %d | %s | %s |\n",
		r.Name, r.DType, r.Value, r.Ours, share, peer, r.Theirs, r.Ratio.Median, r.Ratio.Min, r.Ratio.Max, r.Rounds, memory, r.Void)
}

func (s spread) String() string {
	return fmt.Sprintf("%s (%s-%s)", number(s.Median), number(s.Min), number(s.Max))
}

func number(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// line is the row as JSON.
func (r row) line() ([]byte, error) {
	text, err := json.Marshal(r)
	return append(text, '\n'), err
}
