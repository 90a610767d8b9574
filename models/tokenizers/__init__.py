"""Byte-level BPE and SentencePiece through their libraries; chat turns to ids and loss masks."""
