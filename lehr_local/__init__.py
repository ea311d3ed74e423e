"""The local cloud: the deployed template on a laptop, with neither Docker nor an AWS account.

Nobody imports this package. It is started with `python -m lehr_local up` (or `lehr local up`).
"""
