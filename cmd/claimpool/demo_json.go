package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// mustJSON writes the demo's own claims, which always can be.
func mustJSON(claims map[string]any) []byte {
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return b
}

// changeTenant rewrites a token's payload.
func changeTenant(payload string) string {
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return payload
	}
	return base64.RawURLEncoding.EncodeToString([]byte(strings.ReplaceAll(string(b), "globex", "acme")))
}
