package config

import "strings"

// suggest says what was probably meant.
func suggest(name string, known []string) string {
	best, distance := "", len(name)/2+1
	for _, k := range known {
		if d := editDistance(normal(name), normal(k)); d < distance {
			best, distance = k, d
		}
	}
	if best != "" {
		return `Did you mean "` + best + `"?`
	}
	return "Known here: " + strings.Join(known, ", ") + "."
}

// normal takes away what other programs' files differ in: maxClients, max-clients and max_clients are the same.
func normal(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(name))
}

// editDistance counts the letters to insert, delete, replace, or swap with their neighbour to turn a into b
// (optimal string alignment). Names are short; longer ones are cut.
func editDistance(a, b string) int {
	const maxName = 40 // the cost grows with the square, and the name comes from a file
	a, b = a[:min(len(a), maxName)], b[:min(len(b), maxName)]
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
