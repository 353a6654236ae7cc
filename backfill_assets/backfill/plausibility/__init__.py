"""The life of doubts about bars: opened by an answer or by the judge, ended when data or a person settle them."""
