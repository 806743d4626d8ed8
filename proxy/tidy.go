package proxy

import "runtime/debug"

// tidyAfter is how many logins leave enough garbage behind to be worth a collection of its own.
const tidyAfter = 500

// tidy gives the memory that a storm of logins has left behind back to the system, once the storm is over. The running
// clients make no garbage, so without it the next collection, and the return of the memory, could be minutes away. It is
// called at every sweep of one hub.
func (p *Proxy) tidy() {
	logins := p.number.Load()
	calm := logins == p.tidySeen
	p.tidySeen = logins
	if calm && logins-p.tidyDone >= tidyAfter {
		p.tidyDone = logins
		go debug.FreeOSMemory()
	}
}
