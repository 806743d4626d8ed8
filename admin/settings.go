package admin

import "context"

// Settings tells what is configured at the moment. No secret is among it.
type Settings interface {
	Databases() []Database
	Settings() []Setting
}

// Database is one database as it is configured.
type Database struct {
	Name, Hosts, DBName, Role, Mode, Context, Session string // Session is the target_session_attrs
	Size, Reserve                                     int
	Paused                                            bool
}

// Setting is one setting in force.
type Setting struct {
	Key, Text string
	Reload    bool
}

func init() {
	views["DATABASES"] = view{
		columns("name", "hosts", "dbname", "role", "mode", "size number", "reserve_size number", "context", "target_session_attrs", "paused flag"),
		"the databases that clients may ask for", showDatabases,
	}
	views["CONFIG"] = view{columns("key", "value", "reload flag"), "the settings in force, without secrets", showSettings}
}

func showDatabases(_ context.Context, s *session) (rows [][]any, err error) {
	if s.Settings == nil {
		return nil, errNotHere
	}
	for _, d := range s.Settings.Databases() {
		rows = append(rows, []any{d.Name, d.Hosts, d.DBName, d.Role, d.Mode, int64(d.Size), int64(d.Reserve), d.Context, d.Session, d.Paused})
	}
	return rows, nil
}

func showSettings(_ context.Context, s *session) (rows [][]any, err error) {
	if s.Settings == nil {
		return nil, errNotHere
	}
	for _, v := range s.Settings.Settings() {
		rows = append(rows, []any{v.Key, v.Text, v.Reload})
	}
	return rows, nil
}
