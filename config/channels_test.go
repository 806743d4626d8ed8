package config

import (
	"strings"
	"testing"
)

func TestCheckOfChannels(t *testing.T) {
	for key, want := range map[string]string{
		"channels: ['${a}${b}']":            "databases.shop.channels[0]: is no template for channels: there must be text between",
		"send_channels: [jobs, 'tenant_$']": "",
		"send_channels: [jobs, '${']":       "databases.shop.send_channels[1]: is no template for channels: ${ must be followed",
	} {
		c, err := Parse("/etc/claimpool/claimpool.yaml", []byte("databases: {shop: {hosts: ['db:5432'], "+key+"}}"))
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, p := range c.Check() {
			all = append(all, p.String())
		}
		text := strings.Join(all, "\n")
		if want == "" && strings.Contains(text, "template") || !strings.Contains(text, want) {
			t.Errorf("%s: got\n%s", key, text)
		}
	}
}
