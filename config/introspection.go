package config

import (
	"fmt"
	"strings"
)

// introspection checks how an issuer is asked about its tokens.
func (k *checker) introspection(key string, in Introspection) {
	if in.URL == "" {
		if in.ClientID != "" || !in.ClientSecret.Empty() || in.Cache != 0 || in.Lifetime != 0 || in.CAFile != "" {
			k.wrong(key+".url", "is missing", "As in: introspection: {url: https://id.example.com/introspect, client_id: claimpool, client_secret: {file: secret}}")
		}
		return
	}
	k.address(key+".url", in.URL, "everybody on the way could read the tokens")
	k.needed(key+".client_id", in.ClientID, "The issuer answers only to those that it knows.")
	if in.ClientSecret.Empty() {
		k.wrong(key+".client_secret", "is missing", "The issuer answers only to those that it knows.")
	}
	k.secret(key+".client_secret", in.ClientSecret)
	k.file(key+".ca_file", in.CAFile)
}

// introspecting checks that the tokens of a rule that are no JWT have one issuer to ask.
func (k *checker) introspecting(key string, names []string) {
	var asked []string
	for _, name := range names {
		if k.c.Issuers[name].Introspection.URL != "" {
			asked = append(asked, quote(name))
		}
	}
	if len(asked) > 1 {
		k.wrong(key, "has several issuers that are asked about tokens, "+strings.Join(asked, " and "), "Most of these tokens do not say whose they are: give each issuer a rule of its own.")
	}
}

// decryptionKeys checks the keys that open encrypted tokens.
func (k *checker) decryptionKeys() {
	for i, d := range k.c.DecryptionKeys {
		key := fmt.Sprintf("decryption_keys[%d].file", i)
		if k.needed(key, d.File, "Name a private key.") {
			k.secretFile(key, d.File)
		}
	}
}
