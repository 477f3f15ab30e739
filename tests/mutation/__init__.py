"""How strong the tests are: every small change of the code that counts must make one of them fail (RELIABILITY T24)."""
