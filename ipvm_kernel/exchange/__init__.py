"""Exchanging content with others: IPFS nodes, gateways, the web. What comes is hostile until it is checked."""
