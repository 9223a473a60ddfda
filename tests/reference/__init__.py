"""Conversations with the real etcd, and its recorded answers, for txetcd to be measured by.

`scripts` and those beside it hold what is asked, `conversation` how it is played; `record` asks the real etcd
and writes `answers.json`; `differences` lists where txetcd answers otherwise on purpose.
"""
