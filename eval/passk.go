package eval

import "fmt"

// PassAtK is the unbiased estimate of the chance that at least one of k samples is right, from n samples of which c are:
// 1 - C(n-c, k) / C(n, k) (arXiv 2107.03374, eq. 1). It fails where not 0 <= c <= n or not 1 <= k <= n.
func PassAtK(n, c, k int) (float64, error) {
	if c < 0 || c > n || k < 1 || k > n {
		return 0, fmt.Errorf("eval: pass@%d of %d right among %d samples: want 0 <= right <= samples and 1 <= k <= samples", k, c, n)
	}
	if n-c < k {
		return 1, nil
	}
	miss := 1.0 // that all k are among the wrong ones
	for i := range k {
		miss *= float64(n-c-i) / float64(n-i)
	}
	return 1 - miss, nil
}

// Majority is the answers with the most votes, in the order they were first given: several where they tie, none where nobody
// answered. An empty answer is no vote. Answers count as equal where the strings are; canonicalise them first.
func Majority(answers []string) []string {
	votes, most := map[string]int{}, 0
	for _, a := range answers {
		if a != "" {
			votes[a]++
			most = max(most, votes[a])
		}
	}
	var winners []string
	for _, a := range answers {
		if a != "" && votes[a] == most {
			winners = append(winners, a)
			votes[a] = 0 // listed
		}
	}
	return winners
}

// ConsAtK is the score of the majority answer (R1's cons@k, k = len(answers)): 1 or 0, and where answers tie the chance that one
// of them, drawn evenly, is right.
func ConsAtK(answers []string, gold string) float64 {
	winners := Majority(answers)
	for _, w := range winners {
		if w == gold {
			return 1 / float64(len(winners))
		}
	}
	return 0
}
