"""Byte-level BPE, SentencePiece and WordPiece through their libraries; chat turns to ids and loss masks."""
