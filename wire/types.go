package wire

// Types of the messages that a client sends (protocol, Message Formats).
const (
	MsgBind         byte = 'B'
	MsgClose        byte = 'C'
	MsgDescribe     byte = 'D'
	MsgExecute      byte = 'E'
	MsgFlush        byte = 'H'
	MsgFunctionCall byte = 'F'
	MsgParse        byte = 'P'
	MsgPassword     byte = 'p' // PasswordMessage, SASLInitialResponse and SASLResponse: what was asked for tells which
	MsgQuery        byte = 'Q'
	MsgSync         byte = 'S'
	MsgTerminate    byte = 'X'
)

// Types of the messages that both sides send.
const (
	MsgCopyData byte = 'd'
	MsgCopyDone byte = 'c'
	MsgCopyFail byte = 'f' // clients only
)

// Types of the messages that a server sends.
const (
	MsgAuthentication           byte = 'R'
	MsgBackendKeyData           byte = 'K'
	MsgBindComplete             byte = '2'
	MsgCloseComplete            byte = '3'
	MsgCommandComplete          byte = 'C'
	MsgCopyBothResponse         byte = 'W'
	MsgCopyInResponse           byte = 'G'
	MsgCopyOutResponse          byte = 'H'
	MsgDataRow                  byte = 'D'
	MsgEmptyQueryResponse       byte = 'I'
	MsgErrorResponse            byte = 'E'
	MsgFunctionCallResponse     byte = 'V'
	MsgNegotiateProtocolVersion byte = 'v'
	MsgNoData                   byte = 'n'
	MsgNoticeResponse           byte = 'N'
	MsgNotificationResponse     byte = 'A'
	MsgParameterDescription     byte = 't'
	MsgParameterStatus          byte = 'S'
	MsgParseComplete            byte = '1'
	MsgPortalSuspended          byte = 's'
	MsgReadyForQuery            byte = 'Z'
	MsgRowDescription           byte = 'T'
)

// Codes inside of an authentication message.
const (
	AuthOK           uint32 = 0
	AuthKerberosV5   uint32 = 2
	AuthCleartext    uint32 = 3
	AuthMD5          uint32 = 5
	AuthGSS          uint32 = 7
	AuthGSSContinue  uint32 = 8
	AuthSSPI         uint32 = 9
	AuthSASL         uint32 = 10
	AuthSASLContinue uint32 = 11
	AuthSASLFinal    uint32 = 12
)

// Transaction states inside of ReadyForQuery.
const (
	StatusIdle          byte = 'I'
	StatusInTransaction byte = 'T'
	StatusFailed        byte = 'E' // in a transaction that can only be rolled back
)

// What Describe and Close speak of.
const (
	KindPortal    byte = 'P'
	KindStatement byte = 'S'
)
