"""The methods of the papers: pure functions over records, without torch, files or settings of other slots."""
