package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/claimpool/claimpool/fetch"
)

// Azure gets access tokens of Microsoft Entra ID for Azure Database for PostgreSQL: with a federated token where the environment has
// one (AZURE_FEDERATED_TOKEN_FILE, workload identity), else from the endpoint of App Service (IDENTITY_ENDPOINT), else from the
// metadata service of the virtual machine.
type Azure struct {
	ClientID string // of the managed identity; empty: the system's, or the environment's AZURE_CLIENT_ID
	Endpoint string // of the metadata service; empty means Azure's
	Roots    string // a file with the certificates that sign the authority's; empty: those of the system
	Clock    func() time.Time
}

// resourcePG is what tokens are asked for (Azure Database for PostgreSQL, "Use Microsoft Entra ID for authentication").
const resourcePG = "https://ossrdbms-aad.database.windows.net"

// Source gives the source.
func (a Azure) Source() (Source, error) {
	roots, err := loadRoots(a.Roots)
	if err != nil {
		return nil, fmt.Errorf("azure: %w", err)
	}
	direct, outside := ofMachine, fetch.Options{Roots: roots}
	return func(ctx context.Context) (Credential, error) {
		client := direct
		r, err := a.request()
		if strings.HasPrefix(r.url, "https://") {
			client = outside
		}
		var c Credential
		if err == nil {
			c, err = a.token(ctx, client, r)
		}
		if err != nil {
			return Credential{}, fmt.Errorf("azure: %w", err)
		}
		return c, nil
	}, nil
}

// request is the question that fits the environment.
func (a Azure) request() (request, error) {
	client := a.ClientID
	if file := os.Getenv("AZURE_FEDERATED_TOKEN_FILE"); file != "" {
		if client == "" {
			client = os.Getenv("AZURE_CLIENT_ID")
		}
		assertion, err := readToken(file, true)
		if err != nil {
			return request{}, err
		}
		authority, tenant := strings.TrimSuffix(os.Getenv("AZURE_AUTHORITY_HOST"), "/"), os.Getenv("AZURE_TENANT_ID")
		if authority == "" {
			authority = "https://login.microsoftonline.com"
		}
		u, err := url.Parse(authority)
		if err != nil || u.Scheme != "https" || tenant == "" || client == "" {
			return request{}, errors.New("AZURE_TENANT_ID, AZURE_CLIENT_ID or an https AZURE_AUTHORITY_HOST is missing")
		}
		return request{method: http.MethodPost, url: authority + "/" + url.PathEscape(tenant) + "/oauth2/v2.0/token", body: url.Values{
			"grant_type": {"client_credentials"}, "client_id": {client}, "scope": {resourcePG + "/.default"}, "client_assertion": {assertion},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}.Encode()}, nil
	}
	query := url.Values{"resource": {resourcePG}}
	if client != "" {
		query.Set("client_id", client)
	}
	if endpoint := os.Getenv("IDENTITY_ENDPOINT"); endpoint != "" {
		query.Set("api-version", "2019-08-01")
		return request{method: http.MethodGet, url: endpoint + "?" + query.Encode(), header: map[string]string{"X-IDENTITY-HEADER": os.Getenv("IDENTITY_HEADER")}}, nil
	}
	base := a.Endpoint
	if base == "" {
		base = "http://169.254.169.254"
	}
	query.Set("api-version", "2018-02-01")
	return request{method: http.MethodGet, url: base + "/metadata/identity/oauth2/token?" + query.Encode(), header: map[string]string{"Metadata": "true"}}, nil
}

func (a Azure) token(ctx context.Context, client fetch.Options, r request) (Credential, error) {
	var answer struct {
		AccessToken string          `json:"access_token"`
		ExpiresIn   json.RawMessage `json:"expires_in"` // a number, or a number in quotes; App Service has none
		ExpiresOn   json.RawMessage `json:"expires_on"` // the same, since 1970
	}
	if err := askJSON(ctx, client, r, &answer); err != nil {
		return Credential{}, err
	}
	seconds := number(answer.ExpiresIn)
	if seconds == 0 {
		clock := a.Clock
		if clock == nil {
			clock = time.Now
		}
		seconds = number(answer.ExpiresOn) - clock().Unix()
	}
	return tokenFor("token", answer.AccessToken, seconds, a.Clock)
}

// number reads 3599 and "3599"; anything else is 0.
func number(raw json.RawMessage) int64 {
	n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
