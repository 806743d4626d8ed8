/*
 * mac.h
 *		Answers of others, for mac.c.
 */
#ifndef CLAIMPOOL_MAC_H
#define CLAIMPOOL_MAC_H

extern void mac_known_answers(void);

#endif							/* CLAIMPOOL_MAC_H */
