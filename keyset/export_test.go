package keyset

import (
	"os"

	"github.com/claimpool/claimpool/token"
)

// Parse reads a file's content without the file.
func Parse(spec Spec, data []byte, info os.FileInfo) ([]token.Key, error) {
	keys, _, err := parse(spec, data, info)
	return keys, err
}

// MaxAge and NextFetch are the arithmetic of refreshing.
var (
	MaxAge    = maxAge
	NextFetch = nextFetch
)

// ReadDiscovery reads an issuer's description without fetching it.
func ReadDiscovery(data []byte, issuer string) (string, error) { return readDiscovery(data, issuer) }

// ParseSigner reads a private key's content without the file.
func ParseSigner(data []byte, info os.FileInfo, alg, kid string) (*token.Signer, error) {
	return parseSigner(data, info, alg, kid)
}
