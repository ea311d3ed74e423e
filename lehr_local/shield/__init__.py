"""A layer in front of moto that judges every request by the deployed policies, records it, and can make it fail."""
