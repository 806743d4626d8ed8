package credential

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestSignature compares with the example of Amazon's documentation ("Authenticating Requests: Using Query Parameters").
func TestSignature(t *testing.T) {
	p := presigned{
		host: "examplebucket.s3.amazonaws.com", path: "/test.txt", region: "us-east-1", service: "s3", expires: 24 * time.Hour, payload: "UNSIGNED-PAYLOAD",
	}
	got := p.sign(awsKeys{ID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}, time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC))
	want := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z" +
		"&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

const container = `{"RoleArn":"arn","AccessKeyId":"ASIA1","SecretAccessKey":"container secret","Token":"session/+=","Expiration":"2026-12-01T18:00:00Z"}`

// token makes a token and takes it apart.
func token(t *testing.T, a *AWS) (query url.Values, host string, err error) {
	t.Helper()
	a.Clock = clock
	secret, err := a.Token(t.Context(), "shop.abc.eu-west-1.rds.amazonaws.com:5432", "app user")
	if err != nil {
		return nil, "", err
	}
	u, err := url.Parse("https://" + string(secret))
	if err != nil {
		t.Fatal(err)
	}
	return u.Query(), u.Host, nil
}

func TestAWS(t *testing.T) {
	machine := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			fmt.Fprint(w, "imds token")
		case r.Header.Get("X-aws-ec2-metadata-token") != "imds token":
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasSuffix(r.URL.Path, "/security-credentials/"):
			fmt.Fprint(w, "the role\n")
		default:
			fmt.Fprint(w, strings.Replace(container, "ASIA1", "ASIA2", 1))
		}
	})
	pod := serve(t, says(container), "Authorization")
	sts := serve(t, says(`<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
		<SessionToken>s</SessionToken><SecretAccessKey>x</SecretAccessKey><Expiration>2026-12-01T18:00:00Z</Expiration><AccessKeyId>ASIA3</AccessKeyId>
		</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`))
	web := file(t, "web token", 0o644)
	for _, test := range []struct {
		name    string
		env     map[string]string
		id, had string // the key's id; the session token
	}{
		{"the environment", map[string]string{"AWS_ACCESS_KEY_ID": "AKIA0", "AWS_SECRET_ACCESS_KEY": "secret"}, "AKIA0", ""},
		{"a pod", map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": pod.URL + "/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": web}, "ASIA1", "session/+="},
		{"a web identity", map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": web, "AWS_ROLE_ARN": "arn:x"}, "ASIA3", "s"},
		{"the machine", nil, "ASIA2", "session/+="},
	} {
		t.Run(test.name, func(t *testing.T) {
			environment(t, test.env)
			a := &AWS{Endpoint: machine.URL, STS: sts.URL}
			q, host, err := token(t, a)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{
				"Action": "connect", "DBUser": "app user", "X-Amz-Expires": "900", "X-Amz-Security-Token": test.had,
				"X-Amz-Credential": test.id + "/20261201/eu-west-1/rds-db/aws4_request", "X-Amz-Date": "20261201T120000Z",
			} {
				if q.Get(name) != want {
					t.Errorf("%s is %q", name, q.Get(name))
				}
			}
			if host != "shop.abc.eu-west-1.rds.amazonaws.com:5432" || len(q.Get("X-Amz-Signature")) != 64 {
				t.Errorf("host %s, signature %s", host, q.Get("X-Amz-Signature"))
			}
			before := len(machine.lines()) + len(pod.lines()) + len(sts.lines())
			if _, _, err := token(t, a); err != nil || len(machine.lines())+len(pod.lines())+len(sts.lines()) != before {
				t.Errorf("the keys were fetched again (%v)", err)
			}
		})
	}
	if want := "GET /v1/credentials Authorization=web token"; pod.lines() != want {
		t.Errorf("asked %s", pod.lines())
	}
	if !strings.Contains(sts.lines(), "Action=AssumeRoleWithWebIdentity&RoleArn=arn%3Ax&RoleSessionName=claimpool&Version=2011-06-15&WebIdentityToken=web+token") {
		t.Errorf("asked %s", sts.lines())
	}
}

func TestAWSRegion(t *testing.T) {
	environment(t, map[string]string{"AWS_REGION": "us-east-2"})
	for _, test := range []struct{ region, host, want string }{
		{"", "shop.abc.eu-west-1.rds.amazonaws.com:5432", "eu-west-1"},
		{"", "shop.abc.cn-north-1.rds.amazonaws.com.cn:5432", "cn-north-1"},
		{"", "db.example.com:5432", "us-east-2"},
		{"ap-south-1", "shop.abc.eu-west-1.rds.amazonaws.com:5432", "ap-south-1"},
	} {
		if got, err := (&AWS{Region: test.region}).region(test.host); got != test.want {
			t.Errorf("%s: %s, %v", test.host, got, err)
		}
	}
	environment(t, nil)
	if got, err := new(AWS).region("db.example.com:5432"); err == nil {
		t.Errorf("region %q of nowhere", got)
	}
}

func TestGoogle(t *testing.T) {
	environment(t, nil)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		fmt.Fprint(w, `{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}`)
	}, "Metadata-Flavor")
	c, err := Google{Endpoint: s.URL, Account: "db@p.iam", Clock: clock}.Source()(t.Context())
	if err != nil || string(c.Password) != "ya29.x" || c.User != "" || c.Expires.Sub(epoch) != 3599*time.Second {
		t.Errorf("%v %v %v", c.User, c.Expires, err)
	}
	if want := "GET /computeMetadata/v1/instance/service-accounts/db@p.iam/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fsqlservice.login Metadata-Flavor=Google"; s.lines() != want {
		t.Errorf("asked %s", s.lines())
	}
}

func TestAzure(t *testing.T) {
	const imds = `{"access_token":"eyJ.x","client_id":"c","expires_in":"3599","expires_on":"1796129999","resource":"r","token_type":"Bearer"}`
	s := serve(t, says(imds), "Metadata", "X-IDENTITY-HEADER")
	resource := "resource=https%3A%2F%2Fossrdbms-aad.database.windows.net"
	for _, test := range []struct {
		name, client string
		env          map[string]string
		want         string
	}{
		{"a machine", "", nil, "GET /metadata/identity/oauth2/token?api-version=2018-02-01&" + resource + " Metadata=true X-IDENTITY-HEADER="},
		{"one of several identities", "c", nil, "GET /metadata/identity/oauth2/token?api-version=2018-02-01&client_id=c&" + resource + " Metadata=true X-IDENTITY-HEADER="},
		{"App Service", "", map[string]string{"IDENTITY_ENDPOINT": s.URL + "/msi/token", "IDENTITY_HEADER": "h"}, "GET /msi/token?api-version=2019-08-01&" + resource + " Metadata= X-IDENTITY-HEADER=h"},
	} {
		t.Run(test.name, func(t *testing.T) {
			environment(t, test.env)
			source, err := Azure{Endpoint: s.URL, ClientID: test.client, Clock: clock}.Source()
			if err != nil {
				t.Fatal(err)
			}
			c, err := source(t.Context())
			if err != nil || string(c.Password) != "eyJ.x" || c.Expires.Sub(epoch) != 3599*time.Second {
				t.Errorf("%v %v", c.Expires, err)
			}
			lines := strings.Split(s.lines(), "\n")
			if got := lines[len(lines)-1]; got != test.want {
				t.Errorf("asked %s", got)
			}
		})
	}
	t.Run("workload identity", func(t *testing.T) {
		environment(t, map[string]string{"AZURE_FEDERATED_TOKEN_FILE": file(t, "federated", 0o644), "AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t"})
		r, err := Azure{}.request()
		want := "client_assertion=federated&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_id=c&grant_type=client_credentials&scope=https%3A%2F%2Fossrdbms-aad.database.windows.net%2F.default"
		if err != nil || r.method+" "+r.url != "POST https://login.microsoftonline.com/t/oauth2/v2.0/token" || r.body != want {
			t.Errorf("%+v %v", r, err)
		}
		t.Setenv("AZURE_AUTHORITY_HOST", "http://login.example.com")
		if _, err := (Azure{}).request(); err == nil {
			t.Error("an assertion would go over http")
		}
	})
	environment(t, nil)
	s.set(says(`{"access_token":"eyJ.x","expires_on":"` + fmt.Sprint(epoch.Unix()+60) + `"}`)) // App Service has no expires_in
	source, _ := Azure{Endpoint: s.URL, Clock: clock}.Source()
	if c, err := source(t.Context()); err != nil || c.Expires.Sub(epoch) != time.Minute {
		t.Errorf("%v %v", c.Expires, err)
	}
}

// TestAttackMetadata: somebody else answers at the address of a metadata service, or answers nonsense.
//
// Must: Nothing is taken as a token, no redirect is followed, keys of AWS are not asked for over http outside of the machine, and no
// error shows what was sent.
// Dialects: none
func TestAttackMetadata(t *testing.T) {
	elsewhere := serve(t, says(`{"access_token":"tell-tale","expires_in":60,"AccessKeyId":"a","SecretAccessKey":"b"}`))
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"a captive portal": says("<html>tell-tale"),
		"without its mark": says(`{"access_token":"tell-tale"}`),
		"without an end":   says(`{"access_token":"tell-tale","expires_in":0,"AccessKeyId":"tell-tale"}`),
		"for ever":         says(`{"access_token":"tell-tale","expires_in":99999999999,"AccessKeyId":"tell-tale"}`),
		"refused":          status(404, "tell-tale"),
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
	} {
		environment(t, nil)
		s := serve(t, answer)
		azure, err := Azure{Endpoint: s.URL}.Source()
		if err != nil {
			t.Fatal(err)
		}
		for who, source := range map[string]Source{"google": Google{Endpoint: s.URL}.Source(), "azure": azure} {
			if c, err := source(t.Context()); err == nil || c.Password != nil || shows(err, "tell-tale") != "" {
				t.Errorf("%s: %s: %v", name, who, err)
			}
		}
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.URL)
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "authorization")
		if _, _, err := token(t, new(AWS)); err == nil || shows(err, "tell-tale", "authorization") != "" {
			t.Errorf("%s: aws: %v", name, err)
		}
	}
	for _, address := range []string{"http://metadata.example.com/keys", "http://169.254.170.3/keys", "ftp://127.0.0.1/", "http://127.0.0.1.example.com/"} {
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
		if _, _, err := token(t, new(AWS)); err == nil || !strings.Contains(err.Error(), "neither https nor on this machine") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if elsewhere.lines() != "" {
		t.Errorf("the question went elsewhere: %s", elsewhere.lines())
	}
}
