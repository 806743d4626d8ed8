package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// awsKeys are the keys of an AWS principal.
type awsKeys struct {
	ID, Secret, Session string
	Expires             time.Time // zero: never
}

// presigned is a GET request whose query string is to be signed by AWS Signature Version 4.
type presigned struct {
	host, path      string
	query           map[string]string
	region, service string
	expires         time.Duration
	payload         string // the hash of the body
}

// emptyPayload is the SHA-256 of no bytes.
const emptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// sign gives the query string with its signature (AWS, "Signature Version 4", "Authenticating Requests: Using Query Parameters").
func (p presigned) sign(k awsKeys, now time.Time) string {
	stamp := now.UTC().Format("20060102T150405Z")
	scope := stamp[:8] + "/" + p.region + "/" + p.service + "/aws4_request"
	query := map[string]string{
		"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": k.ID + "/" + scope, "X-Amz-Date": stamp,
		"X-Amz-Expires": fmt.Sprint(int(p.expires.Seconds())), "X-Amz-SignedHeaders": "host",
	}
	if k.Session != "" {
		query["X-Amz-Security-Token"] = k.Session
	}
	for name, value := range p.query {
		query[name] = value
	}
	canonicalQuery := canonical(query)
	request := "GET\n" + p.path + "\n" + canonicalQuery + "\nhost:" + p.host + "\n\nhost\n" + p.payload
	sum := sha256.Sum256([]byte(request))
	key := []byte("AWS4" + k.Secret)
	for _, part := range []string{stamp[:8], p.region, p.service, "aws4_request"} {
		key = mac(key, part)
	}
	signature := mac(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hex.EncodeToString(sum[:]))
	return canonicalQuery + "&X-Amz-Signature=" + hex.EncodeToString(signature)
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonical sorts and encodes a query as the signature wants it: a space is %20.
func canonical(query map[string]string) string {
	pairs := make([]string, 0, len(query))
	encode := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	for name, value := range query {
		pairs = append(pairs, encode(name)+"="+encode(value))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}
