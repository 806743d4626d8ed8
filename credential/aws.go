package credential

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/fetch"
)

// AWS makes the tokens with which PostgreSQL in Amazon RDS and Aurora is logged in to ("IAM database authentication"): a request that is
// signed and never sent. The keys for it come from the environment, like those of Amazon's own programs: as they are
// (AWS_ACCESS_KEY_ID), for a token of Kubernetes (AWS_WEB_IDENTITY_TOKEN_FILE), from the container's endpoint
// (AWS_CONTAINER_CREDENTIALS_FULL_URI), or from the metadata service of the machine (IMDSv2).
type AWS struct {
	Region   string // empty: as the host's name or the environment says
	Endpoint string // of the metadata service; empty means Amazon's
	STS      string // of the token service; empty means Amazon's in the region
	Roots    string // a file with the certificates that sign that service's; empty: those of the system
	Clock    func() time.Time

	keys memory[awsKeys]
}

// tokenLife is how long a token is good for a login; RDS takes no longer one.
const tokenLife = 15 * time.Minute

// regionOf finds the region in the name of a host of RDS.
var regionOf = regexp.MustCompile(`\.([a-z0-9-]+)\.rds\.amazonaws\.com(\.cn)?$`)

// Token makes the token for one host ("name:port") and one user.
func (a *AWS) Token(ctx context.Context, host, user string) (claimpool.Secret, error) {
	region, err := a.region(host)
	if err != nil {
		return nil, fmt.Errorf("aws: %w", err)
	}
	keys, err := a.current(ctx, region)
	if err != nil {
		return nil, fmt.Errorf("aws: %w", err)
	}
	p := presigned{
		host: host, path: "/", query: map[string]string{"Action": "connect", "DBUser": user},
		region: region, service: "rds-db", expires: tokenLife, payload: emptyPayload,
	}
	return claimpool.Secret(host + "/?" + p.sign(keys, a.now())), nil
}

// Forget drops the keys: the next token is made with new ones.
func (a *AWS) Forget() bool {
	a.keys.mu.Lock()
	defer a.keys.mu.Unlock()
	old := a.keys.valid
	a.keys.forget(a.terms())
	return old
}

// terms say that keys are replaced maxMargin before their end; those without one never are.
func (a *AWS) terms() *terms[awsKeys] {
	return &terms[awsKeys]{
		clock: a.now, expires: func(k awsKeys) time.Time { return k.Expires },
		replaceAt: func(k awsKeys, _ time.Time) time.Time {
			if k.Expires.IsZero() {
				return a.now().Add(time.Hour)
			}
			return k.Expires.Add(-maxMargin)
		},
		clone: func(k awsKeys) awsKeys { return k }, drop: func(awsKeys) {},
	}
}

func (a *AWS) now() time.Time {
	if a.Clock != nil {
		return a.Clock()
	}
	return time.Now()
}

// region is what the configuration says, else what the host's name says, else what the environment says.
func (a *AWS) region(host string) (string, error) {
	name, _, _ := strings.Cut(host, ":")
	region := a.Region
	if found := regionOf.FindStringSubmatch(name); region == "" && found != nil {
		region = found[1]
	}
	for _, variable := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if region == "" {
			region = os.Getenv(variable)
		}
	}
	if region == "" {
		return "", fmt.Errorf("the region of %q is not known: set it", host)
	}
	return region, nil
}

// current gives keys that are good for a while.
func (a *AWS) current(ctx context.Context, region string) (awsKeys, error) {
	return a.keys.get(ctx, a.terms(), func(ctx context.Context) (awsKeys, error) {
		keys, err := a.fetch(ctx, region)
		if err == nil && (keys.ID == "" || keys.Secret == "") {
			err = errors.New("the answer holds no keys")
		}
		return keys, err
	})
}

func (a *AWS) fetch(ctx context.Context, region string) (awsKeys, error) {
	full, relative := os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"), os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
	switch {
	case os.Getenv("AWS_ACCESS_KEY_ID") != "":
		return awsKeys{ID: os.Getenv("AWS_ACCESS_KEY_ID"), Secret: os.Getenv("AWS_SECRET_ACCESS_KEY"), Session: os.Getenv("AWS_SESSION_TOKEN")}, nil
	case os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "":
		return a.webIdentity(ctx, region)
	case relative != "":
		return containerKeys(ctx, "http://169.254.170.2"+relative)
	case full != "":
		return containerKeys(ctx, full)
	}
	return a.machineKeys(ctx)
}

// roleKeys is the form in which containers and machines get their keys.
type roleKeys struct {
	AccessKeyID, SecretAccessKey, Token string
	Expiration                          time.Time
}

func (k roleKeys) keys() awsKeys {
	return awsKeys{ID: k.AccessKeyID, Secret: k.SecretAccessKey, Session: k.Token, Expires: k.Expiration}
}

// containerKeys asks the endpoint of ECS, or of EKS Pod Identity. Its authorization must not leave the machine in the clear.
func containerKeys(ctx context.Context, address string) (awsKeys, error) {
	u, err := url.Parse(address)
	if err != nil {
		return awsKeys{}, errors.New("AWS_CONTAINER_CREDENTIALS_FULL_URI is not a URL")
	}
	switch host := u.Hostname(); {
	case u.Scheme == "https":
	case u.Scheme == "http" && (loopback(host) || host == "169.254.170.2" || host == "169.254.170.23" || host == "fd00:ec2::23"):
	default:
		return awsKeys{}, errors.New("AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor on this machine")
	}
	header := map[string]string{}
	token := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
	if file := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
		if token, err = readToken(file, true); err != nil {
			return awsKeys{}, err
		}
	}
	if token != "" {
		header["Authorization"] = token
	}
	var answer roleKeys
	err = askJSON(ctx, ofMachine, request{method: http.MethodGet, url: address, header: header}, &answer)
	return answer.keys(), err
}

// machineKeys asks the metadata service, version 2: a token first, then the name of the role, then its keys.
func (a *AWS) machineKeys(ctx context.Context) (awsKeys, error) {
	base := a.Endpoint
	if base == "" {
		base = "http://169.254.169.254"
	}
	client := ofMachine
	token, _, err := ask(ctx, client, request{
		method: http.MethodPut, url: base + "/latest/api/token", header: map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": "60"},
	})
	if err != nil {
		return awsKeys{}, err
	}
	header := map[string]string{"X-aws-ec2-metadata-token": string(token)}
	const roles = "/latest/meta-data/iam/security-credentials/"
	role, _, err := ask(ctx, client, request{method: http.MethodGet, url: base + roles, header: header})
	if err != nil {
		return awsKeys{}, err
	}
	var answer roleKeys
	name, _, _ := strings.Cut(strings.TrimSpace(string(role)), "\n")
	err = askJSON(ctx, client, request{method: http.MethodGet, url: base + roles + url.PathEscape(name), header: header}, &answer)
	return answer.keys(), err
}

// webIdentity exchanges a token of the platform for keys (STS, AssumeRoleWithWebIdentity).
func (a *AWS) webIdentity(ctx context.Context, region string) (awsKeys, error) {
	token, err := readToken(os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), true)
	if err != nil {
		return awsKeys{}, err
	}
	base := a.STS
	if base == "" {
		base = "https://sts." + region + ".amazonaws.com"
	}
	roots, err := loadRoots(a.Roots)
	if err != nil {
		return awsKeys{}, err
	}
	name := os.Getenv("AWS_ROLE_SESSION_NAME")
	if name == "" {
		name = "claimpool"
	}
	body, _, err := ask(ctx, fetch.Options{Roots: roots}, request{method: http.MethodPost, url: base + "/", body: url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {os.Getenv("AWS_ROLE_ARN")},
		"RoleSessionName": {name}, "WebIdentityToken": {token},
	}.Encode()})
	defer clear(body)
	if err != nil {
		return awsKeys{}, err
	}
	var answer struct {
		Keys struct {
			AccessKeyID     string    `xml:"AccessKeyId"`
			SecretAccessKey string    `xml:"SecretAccessKey"`
			SessionToken    string    `xml:"SessionToken"`
			Expiration      time.Time `xml:"Expiration"`
		} `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
	}
	if xml.Unmarshal(body, &answer) != nil {
		return awsKeys{}, errors.New("the answer is not the XML that was expected")
	}
	k := answer.Keys
	return awsKeys{ID: k.AccessKeyID, Secret: k.SecretAccessKey, Session: k.SessionToken, Expires: k.Expiration}, nil
}
